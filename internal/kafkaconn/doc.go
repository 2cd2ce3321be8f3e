// Package kafkaconn turns the connection flags that every command shares into options of the Kafka client.
package kafkaconn
