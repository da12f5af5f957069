// Package check judges the charts beside it without a cluster: it renders them, decodes what
// comes out into the typed API with unknown fields as errors, and looks at what an API server
// would not refuse and a night on call would regret.
//
// It must not know a cluster, and reads nothing but files of this repository. A check is a
// function from a System to problems, each a sentence that names the object.
package check
