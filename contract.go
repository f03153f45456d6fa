// Package authhook holds the contract of the service: openapi.yaml, from which the server's types (internal/webhook/admin)
// and the client (client) are generated, and against which the service holds every request.
package authhook

import _ "embed"

//go:generate go tool oapi-codegen -config internal/webhook/admin/generate.yaml -o internal/webhook/admin/api.gen.go openapi.yaml
//go:generate go tool oapi-codegen -config client/generate.yaml -o client/client.gen.go openapi.yaml

// OpenAPI is openapi.yaml: the contract, as it is served at /openapi.yaml. Not to be changed.
//
//go:embed openapi.yaml
var OpenAPI []byte
