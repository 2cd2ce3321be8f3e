// Package ports finds free ports for servers that are started a moment later, and that keep their port while they are stopped and started
// again.
//
// A port that the kernel has chosen may be given to the next process that asks for any, as soon as its listener is closed: every test with a
// server of its own does so. The ports found here are below those that systems give to who names none (32768 on Linux, 49152 elsewhere), so that
// only somebody who wants exactly this one takes it meanwhile.
//
// https://www.kernel.org/doc/html/latest/networking/ip-sysctl.html (ip_local_port_range), RFC 6335, section 6
package ports
