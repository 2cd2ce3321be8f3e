// Package kafkatest runs Kafka for tests and benchmarks: a fake cluster inside the process, or a
// real broker.
//
// Fake is franz-go's kfake, quick and with control functions for faults. Real and StartReal run
// Apache Kafka in KRaft mode, broker and controller in one Java process, from jars that Maven
// fetches once per machine into the user's cache directory; suites that use them are behind the
// build tag realkafka. A broker ends with the process that started it (package childproc).
package kafkatest
