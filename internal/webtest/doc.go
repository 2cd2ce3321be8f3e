// Package webtest holds what the tests of the page show on it, in web and in a browser: the figures
// of a pipeline that does not exist, and rows with hostile texts.
package webtest
