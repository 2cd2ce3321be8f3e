// Package childproc runs a server process that ends when the process that started it ends, by
// whatever way: also after os.Exit, a panic or kill -9.
//
// # Protocol
//
// The server is the child of a small shell, the watcher. The watcher holds the reading end of a
// pipe whose writing end only this process has. The pipe closes when this process ends, and the
// watcher then sends the server Config.EndSignal. A second pipe goes the other way: the watcher
// writes the server's process id to it, and closes it when the server has ended. This process
// answers with a line on the first pipe. A watcher that reads the end of the file instead is alone,
// and removes Config.RemoveDir.
//
// # Invariants
//
//   - No goroutine stays behind while a server runs.
//   - The watcher has its own process group: a Ctrl-C at the terminal reaches this process only.
//   - The server inherits neither pipe.
//
// Linux' parent death signal is no substitute. The kernel sends it when the thread that forked
// ends, and the Go runtime ends threads at any time.
package childproc
