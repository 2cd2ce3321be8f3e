// Package kafkaconn turns the connection flags that every command shares into options of the Kafka client.
//
// Nothing is dialled here. Combinations that cannot be meant are a *ConfigError that names the flag. The password appears in no error,
// log or formatted value.
package kafkaconn
