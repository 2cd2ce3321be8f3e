// Command dist makes the archives of a release: for each platform a tar.gz with the binary, manual
// pages, completions, the licences of all that is linked in, and an SBOM; and SHA256SUMS over them.
//
// # Reproducible
//
// The same commit and the same Go give the same bytes, wherever and whenever: no cgo, -trimpath, no
// VCS stamp (version and commit are given to the linker), entries in order with the commit's time
// and nobody's name, no time in the gzip header, an SBOM without serial number and with the
// commit's time. `make dist-check` builds in two folders and compares.
//
// # Licences
//
// What is linked in is read from the binary itself. A module without a licence text, or with one
// whose kind is not known to be permissive, fails the release: somebody has to look.
package main
