package series_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/kontorhq/kontor/internal/kit/series"
)

func TestALabelHasSoManyNames(t *testing.T) {
	t.Parallel()
	names := series.NewNames(2)
	for _, each := range [][2]string{{"a", "a"}, {"b", "b"}, {"c", series.Other}, {"a", "a"}, {"d", series.Other}, {"b", "b"}} {
		if got := names.Of(each[0]); got != each[1] {
			t.Errorf("%s is called %s, not %s", each[0], got, each[1])
		}
	}
}

func TestNamesThatComeAtOnceAreBoundedToo(t *testing.T) {
	t.Parallel()
	names := series.NewNames(10)
	var mu sync.Mutex
	values := map[string]bool{}
	var asking sync.WaitGroup
	for worker := range 8 {
		asking.Go(func() {
			for i := range 100 {
				value := names.Of(fmt.Sprintf("%d-%d", worker, i))
				mu.Lock()
				values[value] = true
				mu.Unlock()
			}
		})
	}
	asking.Wait()
	if len(values) != 11 {
		t.Errorf("the label has %d values", len(values))
	}
}
