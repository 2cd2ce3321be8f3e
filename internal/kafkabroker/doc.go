// Package kafkabroker runs a real Kafka broker as a child process: for tests and for tools.
//
// Maven fetches the broker's jars once per machine into the user's cache; a Java of 17 or newer
// runs them. A broker is a cluster by itself (KRaft), with its data in a directory. It ends at the
// latest with this process (package childproc). No goroutine of this package runs between calls.
package kafkabroker
