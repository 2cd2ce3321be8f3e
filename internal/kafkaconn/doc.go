// Package kafkaconn turns the connection flags that all commands share into options of the Kafka
// client.
//
// It dials nothing. An invalid combination is a *ConfigError that names the flag. The password
// appears in no error, log or formatted value.
package kafkaconn
