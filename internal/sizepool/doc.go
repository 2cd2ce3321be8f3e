// Package sizepool keeps memory of any size for its next user.
//
// A sync.Pool would be emptied by every second garbage collection, and a backlog has many a second.
// A Pool drops by itself what nobody took for a while, and everything past its limit.
package sizepool
