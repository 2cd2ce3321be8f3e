// Package kafkagroup lets the members of a consumer group tell each other which database they write to, and finds those who do not belong.
//
// Two databases under one group name each get a part of the partitions, and each misses the rows of the other's; so does another
// application's consumer. Kafka sees nothing wrong with either.
//
// # Protocol
//
// A member's subscription, which it sends when it joins, carries user data of the assignor. Behind these stands a Member as JSON: the
// assignor does not read on that far, so that members of older versions are not disturbed. Whoever may describe the group sees it.
//
// # Invariants
//
//   - A member that says nothing is judged by its client id: older versions of ours are no strangers.
//   - While a group rebalances brokers show no subscriptions: nobody is judged then.
package kafkagroup
