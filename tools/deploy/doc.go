// Package deploy decodes the Kubernetes manifests of deploy/ into the types of their owners,
// k8s.io/api and the Prometheus operator's, strictly. It has tests only, with the build tag deploy.
//
// A member that a type does not have fails, and so do a value of another type, a quantity or a
// duration that does not parse, and a required member that is missing. Run it by `make deploy`.
package deploy
