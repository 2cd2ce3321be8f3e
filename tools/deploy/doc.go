// Command check decodes Kubernetes manifests into the types of their owners, k8s.io/api and the Prometheus operator's, strictly: a member that
// a type does not have, a value of another type, a quantity or a duration that does not parse, a required member that is missing, fails.
//
// It is a module of its own, so that those types are no dependency of firstclick. Run it by .ci/deploy.
package main
