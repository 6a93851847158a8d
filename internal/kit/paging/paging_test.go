package paging_test

import (
	"testing"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/paging"
)

func FuzzDecode(f *testing.F) {
	f.Add("")
	f.Add(paging.Cursor{Number: 7, ID: ids.ID{1}}.Encode('p'))
	f.Add(paging.Cursor{Name: "emails"}.Encode('p'))
	f.Fuzz(func(t *testing.T, s string) {
		c, err := paging.Decode('p', s)
		if err == nil && c.Encode('p') != s && !c.IsZero() {
			t.Fatalf("%q was taken as %+v", s, c)
		}
	})
}

func TestACursorBelongsToItsList(t *testing.T) {
	t.Parallel()
	c := paging.Cursor{Number: 42, ID: ids.ID{9}, Name: "emails"}
	if back, err := paging.Decode('p', c.Encode('p')); err != nil || back != c {
		t.Fatalf("%+v, %v", back, err)
	}
	if _, err := paging.Decode('e', c.Encode('p')); err == nil {
		t.Fatal("a payments cursor was taken for an events cursor")
	}
}

func TestAPageIsCutWhereThereIsMore(t *testing.T) {
	t.Parallel()
	place := func(last *int) paging.Cursor { return paging.Cursor{Number: int64(*last)} }
	for found, want := range map[int]paging.Cursor{0: {}, 1: {}, 2: {}, 3: {Number: 20}} {
		page, next := paging.Cut([]int{10, 20, 30}[:found], 2, place)
		if len(page) != min(found, 2) || next != want {
			t.Errorf("of %d: a page of %d, and %+v", found, len(page), next)
		}
	}
}
