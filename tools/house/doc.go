// Command house measures the source: widths and lengths against the rules of the house, and the
// figures of its structure.
//
//	house widths < FILES   # breaches, one a line: file, line, what is too long
//	house figures < FILES  # lines, lengths of files, functions called once in their package
//
// FILES are paths from the top of the repository that holds the working directory. .ci/house and
// `make figures` call it.
package main
