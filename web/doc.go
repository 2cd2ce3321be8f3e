// Package web is the room that people and their monitoring look into: an HTTP server with the page, /livez and /metrics.
//
// What it shows comes in as functions: a Prometheus gatherer, the pipeline's statistics, an explanation, a verification. Of Postgres the
// page reads what others wrote down (rows, instances, dead letters), in read-only sessions, and only while somebody looks. [New]
// takes the port, so that a taken one is known before anything else begins; [Server.Run] serves until its context ends and
// then lets requests in flight finish; [Server.Mount] adds the page, [Server.Guard] asks who is there.
//
// # The page
//
// One stream of server-sent events per page (hub): "hello" with everything that stays and 15 minutes of history, "now" each second, "rows",
// "aside" (instances, dead letters by reason), "verify", "action". A stream that is not read is cut off, and the browser begins anew.
// The rest is asked for: /api/explain, /api/dead-letters. POST /api/actions/NAME acts.
//
// # Invariants
//
//   - Texts of events are hostile. They leave as JSON and become text nodes; the content security policy lets nothing else happen.
//   - Nothing secret reaches the page: settings come in as they may be shown, connection strings never.
//   - Nothing is changed without actions in the configuration, an origin that is ours, and this start's token.
//   - With no one looking the page costs a copy of the statistics a second.
package web
