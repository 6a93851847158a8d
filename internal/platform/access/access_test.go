package access_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/fault"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/kit/postgrestest"
	"github.com/kontorhq/kontor/internal/platform/access"
)

type bench struct {
	*testing.T
	db     *postgres.DB
	access *access.Access
	ahead  atomic.Int64 // how far the node's clock is ahead: keys age at the test's command
}

func setup(t *testing.T) *bench {
	t.Helper()
	t.Parallel()
	db, err := postgres.Open(t.Context(), postgrestest.DB(t).URL, postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	b := &bench{T: t, db: db}
	start := clock.System()
	b.access = access.New(db, func() time.Time { return start.Add(time.Duration(b.ahead.Load())) }, ids.NewSource(clock.System))
	return b
}

// aSecondLater is when nothing that was remembered may be used any more.
func (b *bench) aSecondLater() { b.ahead.Add(int64(time.Second)) }

func (b *bench) create(org, name string, live bool) (string, access.Key) {
	b.Helper()
	shown, key, err := b.access.CreateKey(b.Context(), org, name, live, time.Time{})
	if err != nil {
		b.Fatal(err)
	}
	return shown, key
}

func (b *bench) refused(key string, want *fault.Fault) {
	b.Helper()
	_, err := b.access.Authenticate(b.Context(), key)
	if !errors.Is(err, want) || fault.KindOf(err) != fault.Unauthenticated {
		b.Fatalf("want %s, got %v", want.Code, err)
	}
	if strings.Contains(err.Error(), "ktr_test") && key != "" && strings.Contains(err.Error(), key) {
		b.Fatal("the refusal shows the key")
	}
}

func TestAKeyOpensItsOrganisation(t *testing.T) {
	b := setup(t)
	test, testKey := b.create("acme", "till", false)
	live, liveKey := b.create("acme", "till", true)
	other, otherKey := b.create("zenith", "till", true)
	for shown, key := range map[string]access.Key{test: testKey, live: liveKey, other: otherKey} {
		for range 2 { // from the database, then from memory
			got, err := b.access.Authenticate(t.Context(), shown)
			if err != nil || got != (access.Principal{OrgID: key.OrgID, KeyID: key.ID, Live: key.Live}) {
				t.Fatalf("%+v, %v", got, err)
			}
		}
		if !strings.HasSuffix(shown, key.Hint) || key.CreatedAt.IsZero() {
			t.Fatalf("%+v", key)
		}
	}
	if testKey.OrgID != liveKey.OrgID || testKey.OrgID == otherKey.OrgID {
		t.Fatal("organisations are mixed up")
	}
	var leaks int
	err := b.db.Pool().QueryRow(t.Context(), `select count(*) from api_key k where k::text like '%' || substr($1, 10, 20) || '%'`, test).Scan(&leaks)
	if err != nil || leaks != 0 {
		t.Fatalf("the key itself is stored: %d, %v", leaks, err)
	}
}

func TestWhyAKeyIsRefused(t *testing.T) {
	b := setup(t)
	shown, _ := b.create("acme", "till", false)
	b.refused("", access.ErrKeyMissing)
	b.refused("Bearer "+shown, access.ErrKeyMalformed)
	b.refused(shown[:46]+"!", access.ErrKeyMalformed)
	b.refused(strings.Replace(shown, "test", "live", 1), access.ErrKeyMalformed)
	elsewhere := setup2(b)
	stranger, _ := elsewhere.create("acme", "till", false)
	b.refused(stranger, access.ErrKeyUnknown)
}

// setup2 is a second installation, whose keys are whole but not ours.
func setup2(b *bench) *bench {
	b.Helper()
	db, err := postgres.Open(b.Context(), postgrestest.DB(b.T).URL, postgres.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(db.Close)
	return &bench{T: b.T, db: db, access: access.New(db, clock.System, ids.NewSource(clock.System))}
}

func TestARevokedKeyIsRefusedEverywhereWithinASecond(t *testing.T) {
	b := setup(t)
	shown, key := b.create("acme", "till", false)
	if _, err := b.access.Authenticate(t.Context(), shown); err != nil {
		t.Fatal(err)
	}
	// Revoked through another node: this one hears nothing of it.
	other := access.New(b.db, clock.System, ids.NewSource(clock.System))
	first, err := other.RevokeKey(t.Context(), "acme", key.ID)
	if err != nil || first.RevokedAt.IsZero() {
		t.Fatal(first, err)
	}
	b.aSecondLater()
	b.refused(shown, access.ErrKeyRevoked)
	again, err := other.RevokeKey(t.Context(), "acme", key.ID)
	if err != nil || !again.RevokedAt.Equal(first.RevokedAt) {
		t.Fatalf("revoking again: %+v, %v", again, err)
	}
}

func TestAnExpiredKeyIsRefusedWithinASecond(t *testing.T) {
	b := setup(t)
	shown, key, err := b.access.CreateKey(t.Context(), "acme", "till", false, clock.System().Add(time.Hour))
	if err != nil || key.ExpiresAt.IsZero() {
		t.Fatal(key, err)
	}
	if _, err := b.access.Authenticate(t.Context(), shown); err != nil {
		t.Fatal(err)
	}
	if _, err := b.db.Pool().Exec(t.Context(), `update api_key set expires_at = now()`); err != nil {
		t.Fatal(err)
	}
	b.aSecondLater()
	b.refused(shown, access.ErrKeyExpired)
	if _, err := b.access.RevokeKey(t.Context(), "acme", key.ID); err != nil {
		t.Fatal(err)
	}
	b.aSecondLater()
	b.refused(shown, access.ErrKeyRevoked)
}

func TestAKeyMadeAMomentAgoIsKnownWithinASecond(t *testing.T) {
	b := setup(t)
	elsewhere := setup2(b)
	shown, key := elsewhere.create("acme", "till", false)
	b.refused(shown, access.ErrKeyUnknown)
	_, own := b.create("acme", "till", false)
	if _, err := b.db.Pool().Exec(t.Context(), `update api_key set hash = sha256($1::text::bytea) where id = $2`, shown, own.ID); err != nil {
		t.Fatal(err)
	}
	b.aSecondLater()
	if got, err := b.access.Authenticate(t.Context(), shown); err != nil || got.KeyID != own.ID || got.KeyID == key.ID {
		t.Fatal(got, err)
	}
}

func TestNobodyIsLetInWithoutTheDatabase(t *testing.T) {
	b := setup(t)
	shown, _ := b.create("acme", "till", false)
	if _, err := b.access.Authenticate(t.Context(), shown); err != nil {
		t.Fatal(err)
	}
	b.db.Close()
	b.aSecondLater()
	_, err := b.access.Authenticate(t.Context(), shown)
	if !errors.Is(err, access.ErrUnavailable) || fault.From(err).RetryAfter == 0 {
		t.Fatal(err)
	}
}

func TestACallerWhoGoesIsLetGo(t *testing.T) {
	b := setup(t)
	shown, _ := b.create("acme", "till", false)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.access.Authenticate(ctx, shown); err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if _, err := b.access.Authenticate(t.Context(), shown); err != nil {
		t.Fatal(err)
	}
}

func TestKeysAreListedAndTheirNamesChecked(t *testing.T) {
	b := setup(t)
	_, first := b.create("acme", "first", false)
	_, second := b.create("acme", "second", true)
	b.create("zenith", "third", true)
	keys, err := b.access.ListKeys(t.Context(), "acme")
	if err != nil || len(keys) != 2 || keys[0].ID != second.ID || keys[1].ID != first.ID || keys[0].Name != "second" || !keys[0].Live {
		t.Fatalf("%+v, %v", keys, err)
	}
	if none, err := b.access.ListKeys(t.Context(), "nobody"); err != nil || len(none) != 0 {
		t.Fatal(none, err)
	}
	if _, err := b.access.RevokeKey(t.Context(), "zenith", first.ID); !errors.Is(err, access.ErrKeyNotFound) {
		t.Fatal(err)
	}
	for _, c := range []struct {
		org, name string
		expires   time.Time
		want      *fault.Fault
	}{
		{"", "k", time.Time{}, access.ErrOrganisationMalformed},
		{"Acme", "k", time.Time{}, access.ErrOrganisationMalformed},
		{"-a", "k", time.Time{}, access.ErrOrganisationMalformed},
		{strings.Repeat("a", 64), "k", time.Time{}, access.ErrOrganisationMalformed},
		{"acme", "", time.Time{}, access.ErrKeyNameMalformed},
		{"acme", strings.Repeat("é", 101), time.Time{}, access.ErrKeyNameMalformed},
		{"acme", "k", clock.System().Add(-time.Minute), access.ErrExpiryPassed},
	} {
		if _, _, err := b.access.CreateKey(t.Context(), c.org, c.name, false, c.expires); !errors.Is(err, c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
