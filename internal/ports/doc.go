// Package ports finds free ports for servers that start a moment later and keep their port over
// restarts.
//
// The kernel may give a port that it chose to the next listener that names none, as soon as the
// first listener is closed. The ports found here lie below the kernel's range (from 32768 on Linux,
// from 49152 elsewhere). Only a listener that names exactly this port can take it meanwhile.
//
// https://www.kernel.org/doc/html/latest/networking/ip-sysctl.html (ip_local_port_range)
package ports
