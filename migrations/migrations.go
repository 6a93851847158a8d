// Package migrations holds the schema's one timeline. The file name says when and whose; each file is one goose
// migration with Up and Down. Released files never change.
package migrations

import "embed"

// FS holds the files.
//
//go:embed *.sql
var FS embed.FS
