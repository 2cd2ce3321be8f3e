// Package ending holds the errors by which an attempt of the pipeline, or its run, ends. The rooms
// ingest and engine return them, and pipeline decides whether another attempt follows.
package ending
