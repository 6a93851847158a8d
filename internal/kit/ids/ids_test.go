package ids_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/kontorhq/kontor/internal/kit/ids"
)

func TestEveryIDComesBackFromItsText(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var id ids.ID
		copy(id[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "bytes"))
		id[15] |= 1
		back, err := ids.Parse("pay", ids.Format("pay", id))
		if err != nil || back != id {
			t.Fatalf("%x came back as %x, %v", id, back, err)
		}
	})
}

func TestKnownTypeID(t *testing.T) {
	t.Parallel()
	// From the TypeID specification's valid cases: uuid 01890a5d-ac96-774b-bcce-b302099a8057.
	id := ids.ID{0x01, 0x89, 0x0a, 0x5d, 0xac, 0x96, 0x77, 0x4b, 0xbc, 0xce, 0xb3, 0x02, 0x09, 0x9a, 0x80, 0x57}
	if got := ids.Format("prefix", id); got != "prefix_01h455vb4pex5vsknk084sn02q" {
		t.Fatal(got)
	}
}

func TestIDsRiseWithinAMillisecondAndWhenTheClockGoesBack(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(1_800_000_000_000)
	source := ids.NewSource(func() time.Time { now = now.Add(-time.Microsecond); return now })
	last := source.New()
	for range 10_000 {
		next := source.New()
		if ids.Compare(last, next) >= 0 {
			t.Fatalf("%x is not below %x", last, next)
		}
		last = next
	}
}

func FuzzParse(f *testing.F) {
	f.Add("pay_01h455vb4pex5vsknk084sn02q")
	f.Add("pay_81h455vb4pex5vsknk084sn02q")
	f.Add("pay_")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ids.Parse("pay", s)
		if err == nil && !id.IsZero() && ids.Format("pay", id) != s {
			t.Fatalf("%q was taken as %q", s, ids.Format("pay", id))
		}
	})
}
