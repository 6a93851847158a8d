// Package tidy is the rules of this repository, as tests: what may import what, how SQL is written and what plans it
// gets, what may be called where, how long things may be, and which words have no place here. It has no code of its own
// and owns no tables.
//
// Each rule is shown to be able to fail by a fixture in testdata that it must reject. An exception is a line in the
// rule's table, with its reason; one that excuses nothing any more fails the test.
package tidy
