// stands in internal/commerce/fixture

// Package fixture has a test that wastes time.
package fixture

import (
	"testing"
	"time"
)

func testNothing(t *testing.T) {
	time.Sleep(time.Second) // want: sleeps
	t.Skip("not today")     // want: skips
	time.AfterFunc(time.Second, t.FailNow)
}
