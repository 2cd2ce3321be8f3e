// Package kafkabatch bounds the memory of a batch of Kafka records, and finds the batches that
// cannot be read.
//
// A producer compresses a batch, and a broker stores it as it came. 100 KB of zstd may hold a
// gigabyte of zeros, or a million empty records. A client that decompresses such a batch takes as
// much memory as the producer likes. One that refuses it stops before it for ever.
//
// # Protocol
//
// Consumers decompress with a Decompressor. Its verdict on a batch depends on that batch alone, so
// every instance and the audit find the same batches unreadable. A Decompressor may also have a
// budget for what is decompressed between two polls. Past it the rest of a fetch is left out and
// fetched again.
//
// If a fetch fails with an error that Undecodable recognizes, Read fetches the batches as they are
// stored, and Unreadable returns those that cannot be read: their offsets, sizes and hashes.
// Bad.Record stands for such a batch among the records that can be read.
//
// # Invariants
//
//   - A batch is unreadable for what it holds: it becomes larger than MaxBytes, or its content does
//     not decompress although its checksum is right. A wrong checksum is a fault of a broker's disk
//     or of the network, and no property of the batch.
//   - A batch of an aborted transaction is passed over, as its records would be.
package kafkabatch
