// Package web is the room that people and their monitoring look into: an HTTP server with the page, /livez and /metrics.
//
// What it shows comes in as functions: a Prometheus gatherer, the pipeline's statistics, an explanation, a verification. Of Postgres the
// page reads what others wrote down (rows, instances, dead letters), in read-only sessions, and only while somebody looks. [New]
// takes the port, so that a taken one is known before anything else begins; [Server.Run] serves until its context ends and
// then lets requests in flight finish; [Server.Mount] adds the page, [Server.Guard] asks who is there.
//
// # The page
//
// One stream of server-sent events per page (hub): "hello" with everything that stays, "history" of 15 minutes in parts, "now", "rows", "aside" (instances,
// dead letters by reason) and "verify" in whole once and then as merge patches of what changed, "action". A stream that is not read is cut off, and the
// browser begins anew. The rest is asked for: /api/explain, /api/dead-letters. POST /api/actions/NAME acts.
//
// # Invariants
//
//   - Texts of events are hostile. Postgres cuts them, they leave as JSON and become text nodes; the content security policy lets nothing else happen.
//   - An event has 64 KB at most, whatever there is to tell.
//   - No client keeps another one out: past the bounds of connections and of streams, one that waits or does not read makes room (gate, hub).
//   - Without authentication only names that are ours are answered to (names). What costs is not done for another site's page (foreign).
//   - Nothing secret reaches the page: settings come in as they may be shown, connection strings never.
//   - Nothing is changed without actions in the configuration, an origin that is ours, and this start's token; and nothing of another group.
//   - With no one looking the page costs a copy of the statistics a second.
package web
