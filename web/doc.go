// Package web serves HTTP: the page for people, and /metrics, /livez and /readyz for monitoring.
//
// What it shows comes in as functions: a Prometheus gatherer, the pipeline's statistics, an
// explanation, a verification. It reads rows, instances and dead letters from Postgres in read-only
// sessions, only while somebody looks. [New] takes the port, so that a taken port is known before
// anything else begins. [Server.Mount] adds the page, [Server.Guard] authentication. [Server.Run]
// serves until its context ends, and then lets requests in flight finish.
//
// # The page
//
// A page has one stream of server-sent events (hub): "hello" with what does not change, "history"
// of 15 minutes in parts, and "action" when an action begins or ends. "now", "rows", "aside"
// (instances, dead letters by reason) and "verify" come once as a whole, and then as merge patches.
// A stream that is not read ends, and the browser connects again. /api/explain and
// /api/dead-letters answer single requests; POST /api/actions/NAME acts.
//
// # Invariants
//
//   - Foreign texts are hostile. Postgres cuts them, they leave as JSON and become text nodes. The
//     content security policy lets nothing else happen.
//   - An event has at most 64 KB.
//   - No client keeps another one out: past the bounds of connections and of streams, one that
//     waits or does not read makes room (gate, hub).
//   - Without authentication a request must use a name of this server (hostNames). A costly request
//     must not come from another site's page (foreign).
//   - Nothing secret reaches the page: settings come without secrets, connection strings never.
//   - An action needs a configuration that allows it, our origin, and the token of this start. It
//     changes nothing of another group.
//   - While nobody looks, the page costs one copy of the statistics a second.
//
// # Files, in reading order
//
//   - server.go, gate.go, access.go, health.go: the server, its connections, who may ask, probes
//   - page.go: the page's configuration, routes and loops
//   - hub.go, patch.go, hello.go: streams of events
//   - samples.go, status.go, snapshot.go: the pipeline's statistics as the page shows them
//   - postgres.go, api.go, actions.go: what is read from Postgres, requests, actions
package web
