// Package browser drives a headless Chromium in tests of the page: it starts one with a profile of its own, collects what the page
// complains of, and asks axe-core what a person with a screen reader or weak eyes would trip over.
//
// The browser is the one on PATH (Debian's chromium). axe-core is a file that FIRSTCLICK_AXE names; .ci/browser fetches both.
package browser
