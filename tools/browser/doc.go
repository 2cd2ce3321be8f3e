// Package browser drives the page in a headless Chromium, against figures of a pipeline that does
// not exist and against the demo. It has tests only, with the build tag browser.
//
// The browser is the one on PATH (Debian's chromium), with a profile of its own. axe-core, which
// finds what a person with a screen reader or weak eyes would trip over, is a file that
// FIRSTCLICK_AXE names. .ci/browser fetches both. A test fails when the page complains of anything.
package browser
