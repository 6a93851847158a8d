// stands in internal/platform/helpers

// Package helpers helps.
package helpers // want: says nothing
