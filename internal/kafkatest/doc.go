// Package kafkatest gives tests a Kafka.
//
// Fake is franz-go's kfake: a cluster inside the process, quick, and with control functions for
// faults. Real is one real broker for all tests of a process (package kafkabroker); suites that use
// it are behind the build tag realkafka. Produce and its kin write records, and batches that no
// producer would make.
package kafkatest
