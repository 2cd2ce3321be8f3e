// Package kafkagroup lets the members of a consumer group tell each other which database they write
// to, and finds members that do not belong.
//
// If two databases use one group name, each gets a part of the partitions and misses the rows of
// the other's. The same happens with another application's consumer. Kafka sees nothing wrong with
// either.
//
// # Protocol
//
// A member sends its subscription when it joins. The subscription carries user data of the
// assignor. A Member follows it as JSON. The assignor does not read that far, so members of older
// versions are not disturbed. Whoever may describe the group sees it.
//
// # Invariants
//
//   - A member that says nothing is classified by its client id: older versions of ours are not
//     foreign.
//   - While a group rebalances brokers show no subscriptions. Then nobody is classified.
package kafkagroup
