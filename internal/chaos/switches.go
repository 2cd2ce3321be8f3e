package main

import (
	"fmt"
	"slices"
	"strings"
)

// A binary built with the tag hooksTag leaves out the rule that hooksVariable names. No other build knows of it.
const (
	hooksTag      = "chaoshooks"
	hooksVariable = "FIRSTCLICK_CHAOS"
)

// switches are the rules that can be left out, to show that the suite notices.
func switches() []string { return []string{"no-owner-check", "no-reassert", "no-release-rule"} }

func checkSwitch(name string) error {
	if name == "" || slices.Contains(switches(), name) {
		return nil
	}
	return fmt.Errorf("no switch %q: there are %s", name, strings.Join(switches(), ", "))
}
