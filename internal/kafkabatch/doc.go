// Package kafkabatch bounds what a batch of Kafka records may become in memory, and tells what stands where a batch cannot be read.
//
// A producer compresses a batch, and a broker stores it as it came: 100 KB of zstd may be a gigabyte of zeros, or a million empty records.
// A client that reads such a batch whole takes memory as the producer likes; one that refuses it stands still before it for ever.
//
// # Protocol
//
// Consumers decompress with a Decompressor. Its answer about one batch depends on that batch alone: every instance, and the audit, find the
// same batches unreadable. Besides that a Decompressor may be given a budget for what is decompressed between two polls; past it the rest
// of a fetch is left off, and fetched again later.
//
// Where a fetch fails with an error that Undecodable knows, Read fetches the batches as they are, and Bad tells which of them cannot be read:
// their places, sizes and hashes. Bad.Record stands for such a batch among the records that can be read.
//
// # Invariants
//
//   - A batch is unreadable for what it holds: it becomes more than MaxBytes, or its content does not decompress although its checksum is
//     right. A wrong checksum is a fault of a broker's disk or of the network, and no property of the batch.
//   - A batch of an aborted transaction is passed over like its records would be.
package kafkabatch
