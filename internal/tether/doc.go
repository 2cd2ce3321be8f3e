// Package tether runs a server process that ends when the process that started it ends, however that ends.
//
// Postgres and Kafka brokers of tests, demo and bench must not outlive us, not after os.Exit, a panic or kill -9 either.
// Protocol: the server is the child of a small shell, the watcher, that holds the reading end of a pipe. Its writing end is
// only in this process, so it closes when this process ends, and the watcher then sends the server Config.EndSignal. A second
// pipe goes the other way: the watcher writes the server's process id to it and closes it when the server has ended; this process
// answers with a line on the first when it sees that. A watcher that gets the end of the file instead cleans up alone.
//
// Invariants: no goroutine stays behind (goleak is content while a server runs); the watcher is in a process group of its own, so
// that a Ctrl-C at the terminal reaches only us and we decide; neither pipe is inherited by the server.
//
// Linux' parent death signal does not do: it is sent when the thread that forked ends, and the Go runtime ends threads as it likes.
package tether
