// Package web is the room that people and their monitoring look into: an HTTP server with /livez and /metrics.
//
// It knows nothing of Kafka or Postgres: what it shows comes in as a Prometheus gatherer and as a function that says whether
// the process is alive. [New] takes the port, so that a taken one is known before anything else begins; [Server.Run] serves
// until its context ends and then lets requests in flight finish.
package web
