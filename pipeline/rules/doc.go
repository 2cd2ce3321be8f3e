// Package rules holds the clocks of the pipeline and the rules that a build with the tag chaoshooks
// can leave out, to show that tools/chaos notices.
package rules
