// Package ports finds free ports for servers that start a moment later and keep their port over
// restarts.
//
// The kernel gives a port of its choice again to the next process that names none, as soon as the
// listener is closed. The ports found here lie below that range (from 32768 on Linux, 49152
// elsewhere), so only a process that names exactly this port can take it in between.
//
// https://www.kernel.org/doc/html/latest/networking/ip-sysctl.html (ip_local_port_range)
package ports
