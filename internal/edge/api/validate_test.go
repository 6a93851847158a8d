package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/kontorhq/kontor/internal/kit/fault"
)

func testContract(t testing.TB) *contract {
	t.Helper()
	c, err := loadContract()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestShapesKnowEveryRequest says that no request has to go through the slow validator when it is right.
func TestShapesKnowEveryRequest(t *testing.T) {
	t.Parallel()
	for pattern, op := range testContract(t).operations {
		if op.body != nil && op.shape == nil {
			t.Errorf("%s: the body has a keyword that shapes do not know", pattern)
		}
		for _, p := range op.parameters {
			if p.shape == nil {
				t.Errorf("%s: the parameter %s has a keyword that shapes do not know", pattern, p.name)
			}
		}
	}
}

// TestShapesAgreeWithTheValidator changes requests that are right in random ways.
func TestShapesAgreeWithTheValidator(t *testing.T) {
	t.Parallel()
	c := testContract(t)
	seeds := map[string]string{
		"POST /v1/payments":                       `{"amount":1000,"currency":"EUR","payment_method":"tok_approved","capture_method":"manual","provider":"sandbox","reference":"r","description":"d","metadata":{"a":"b"}}`,
		"POST /v1/payments/{payment_id}/capture":  `{"amount":1,"final":true}`,
		"POST /v1/payments/{payment_id}/void":     `{}`,
		"POST /v1/ledger/accounts":                `{"code":"a/b","type":"asset","asset":"EUR","scale":2,"available_min":null,"available_max":5,"metadata":{}}`,
		"POST /v1/ledger/entries":                 `{"code":"transfer","reference":"r","pending":true,"expires_at":"2027-01-05T12:00:00Z","postings":[{"debit_account":"a","credit_account":"b/c","amount":5}],"metadata":{"k":"v"}}`,
		"POST /v1/ledger/entries/batch":           `{"mode":"atomic","entries":[{"code":"transfer","postings":[{"debit_account":"a","credit_account":"b","amount":5}]}]}`,
		"POST /v1/queues":                         `{"name":"q","max_dispatches_per_second":2.5,"max_burst_size":1}`,
		"POST /v1/ledger/entries/{entry_id}/post": `{"amounts":[1,0],"amount":3,"keep_pending":false}`,
	}
	patterns := make([]string, 0, len(seeds))
	for pattern := range seeds {
		patterns = append(patterns, pattern)
	}
	slices.Sort(patterns)
	rapid.Check(t, func(t *rapid.T) {
		pattern := rapid.SampledFrom(patterns).Draw(t, "request")
		d, err := readDocument([]byte(seeds[pattern]), 1000)
		if err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(0, 3).Draw(t, "changes") {
			d.value = change(t, d.value)
		}
		op := c.operations[pattern]
		if err := op.body.Validate(d.value); op.shape.accepts(d.value) != (err == nil && len(op.shape.unseen(d.value, nil)) == 0) {
			t.Fatalf("%s %v: the validator says %v", pattern, d.value, err)
		}
	})
}

// change alters one place of a value: it takes something away, puts something there, or goes deeper.
func change(t *rapid.T, value any) any {
	odd := rapid.SampledFrom([]any{
		nil, true, int64(0), int64(-1), int64(1 << 62), json.Number("0.5"), json.Number("0.0"), json.Number("100000.001"), json.Number("7.0"), "", "x", "EUR", "asset", "manual", "2027-13-01T00:00:00Z", "2027-01-01t00:00:00z",
		"2027-01-01T23:59:60Z", "é", "a/b", "a//b", strings.Repeat("x", 65), strings.Repeat("é", 500), strings.Repeat("x", 2000), "a b", "a\n",
		map[string]any{},
		[]any{},
		map[string]any{"x": "y"},
		[]any{int64(1)},
	})
	switch v := value.(type) {
	case map[string]any:
		names := []string{"extra", "amount", ""}
		for name := range v {
			names = append(names, name)
		}
		slices.Sort(names)
		name := rapid.SampledFrom(names).Draw(t, "member")
		switch rapid.IntRange(0, 2).Draw(t, "how") {
		case 0:
			delete(v, name)
		case 1:
			v[name] = odd.Draw(t, "value")
		default:
			if inner, ok := v[name]; ok {
				v[name] = change(t, inner)
			}
		}
		return v
	case []any:
		switch rapid.IntRange(0, 3).Draw(t, "how") {
		case 0:
			return append(v, odd.Draw(t, "value"))
		case 1:
			return append(v, slices.Repeat(v, rapid.SampledFrom([]int{0, 1, 99, 100, 1000}).Draw(t, "times"))...)
		case 2:
			if len(v) > 0 {
				v[0] = change(t, v[0])
			}
			return v
		default:
			return v[:0]
		}
	default:
		return odd.Draw(t, "value")
	}
}

// wrongWith lists what the contract finds wrong with a request, as "param detail".
func wrongWith(c *contract, pattern, body string) []string {
	op := c.operations[pattern]
	d, err := readDocument([]byte(body), op.valuesMax)
	if err != nil {
		return []string{err.Error()}
	}
	found := op.checkBody(d)
	if len(found) == 0 {
		return nil
	}
	var out []string
	for _, p := range fault.From(invalid(found)).Params {
		out = append(out, p.Param+" "+p.Detail)
	}
	return out
}

func TestEveryMistakeOfABodyIsToldAtOnce(t *testing.T) {
	t.Parallel()
	c := testContract(t)
	for _, test := range []struct {
		pattern, body string
		want          []string
	}{
		{"POST /v1/payments", `{"amount":0,"currency":"eur","colour":"red"}`, []string{
			"/amount must be at least 1", "/colour is not known here", "/currency must match ^[A-Z]{3}$", "/payment_method is required",
		}},
		{"POST /v1/payments", `[]`, []string{" must be an object, not an array"}},
		{"POST /v1/payments", `{"amount":1.5,"currency":"EUR","payment_method":"t","metadata":{"a":1}}`, []string{
			"/amount must be a whole number, written without a fraction or an exponent", "/metadata/a must be text, not a number",
		}},
		{"POST /v1/payments", `{"amount":12.00,"currency":"EUR","payment_method":"t","reference":1.5,"description":1e9}`, []string{
			"/amount must be a whole number, written without a fraction or an exponent",
			"/description must be a whole number, or one of at most 3 decimals, without an exponent", "/reference must be text, not a number",
		}},
		{"POST /v1/queues", `{"name":"q","max_dispatches_per_second":0.5,"max_burst_size":1.0}`, []string{
			"/max_burst_size must be a whole number, written without a fraction or an exponent",
		}},
		{"POST /v1/queues", `{"name":"q","max_dispatches_per_second":2.0}`, nil},
		{"POST /v1/payments", `{"amount":"1","currency":"EUR","payment_method":"t"}`, []string{"/amount must be a whole number, not text"}},
		{"POST /v1/payments", `{"amount":1,"currency":"EUR","payment_method":"t","capture_method":"later"}`, []string{
			"/capture_method must be one of automatic, manual",
		}},
		{"POST /v1/payments", `{"amount":1,"currency":"EUR","payment_method":"t","metadata":{"":"a","b~/":5}}`, []string{
			"/metadata/ has a name that is empty or too long", "/metadata/b~0~1 must be text, not a number",
		}},
		{"POST /v1/ledger/entries", `{"code":"a b","postings":[{"debit_account":"a","credit_account":"b c","amount":-5},{}],"effective_at":"yesterday"}`, []string{
			"/code must match ^[a-z0-9_.:-]+$", "/effective_at must be a date-time as RFC 3339 has it, such as 2027-01-05T12:00:00Z, of the years 1900 to 9999",
			"/postings/0/amount must be at least 1", "/postings/0/credit_account must match ^[A-Za-z0-9_.:/-]+$",
			"/postings/1/amount is required", "/postings/1/credit_account is required", "/postings/1/debit_account is required",
		}},
		{"POST /v1/ledger/entries", `{"code":"a","postings":[]}`, []string{"/postings must have at least 1 item"}},
	} {
		if got := wrongWith(c, test.pattern, test.body); !slices.Equal(got, test.want) {
			t.Errorf("%s %s:\n got %q\nwant %q", test.pattern, test.body, got, test.want)
		}
	}
}

func TestParametersAreChecked(t *testing.T) {
	t.Parallel()
	c := testContract(t)
	const wantTime = "[{created_from must be a date-time as RFC 3339 has it, such as 2027-01-05T12:00:00Z, of the years 1900 to 9999}]"
	for target, want := range map[string]string{
		"/v1/payments?limit=0":                                  "[{limit must be at least 1}]",
		"/v1/payments?limit=ten":                                "[{limit must be a whole number}]",
		"/v1/payments?limit=1&limit=2":                          "[{limit is there twice}]",
		"/v1/payments?limt=1":                                   "[{limt is not a parameter of this request}]",
		"/v1/payments?status=paid&created_from=now":             "[{status must be one of processing, unknown, authorised, captured, refunded, declined, voided, expired} {created_from must be a date-time as RFC 3339 has it, such as 2027-01-05T12:00:00Z, of the years 1900 to 9999}]",
		"/v1/payments?cursor=%2B":                               "[{cursor must match ^[A-Za-z0-9_-]+$}]",
		"/v1/payments?reference=a%00":                           "[{reference must be UTF-8 without the character NUL}]",
		"/v1/payments?reference=%ff":                            "[{reference must be UTF-8 without the character NUL}]",
		"/v1/payments?a=%zz":                                    "[{ the query string is not well-formed}]",
		"/v1/payments?limit=5&status=captured&reference=%C3%A9": "[]",
		"/v1/payments?created_from=2027-01-05T12:00:00%2B01:00": "[]",
		"/v1/payments?created_from=9999-12-31T23:59:59Z":        "[]",
		"/v1/payments?created_from=9999-12-31T23:59:59-01:00":   wantTime,
		"/v1/payments?created_from=1899-12-31T23:59:59Z":        wantTime,
		"/v1/payments?created_from=0001-01-01T00:00:00Z":        wantTime, // Go's zero time
	} {
		r := httptest.NewRequest(http.MethodGet, target, nil)
		if got := fmt.Sprint(c.operations["GET /v1/payments"].checkParameters(r)); got != want {
			t.Errorf("%s:\n got %s\nwant %s", target, got, want)
		}
	}
}

func TestIdempotencyKeysAreChecked(t *testing.T) {
	t.Parallel()
	for key, code := range map[string]string{
		"":                       "idempotency_key_required",
		"order-42":               "",
		"a b":                    "",
		" a":                     "invalid_request",
		"a ":                     "invalid_request",
		"é":                      "invalid_request",
		"a\tb":                   "invalid_request",
		strings.Repeat("x", 255): "",
		strings.Repeat("x", 256): "invalid_request",
	} {
		got, err := idempotencyKey(http.Header{"Idempotency-Key": {key}})
		switch {
		case code == "" && (err != nil || got != key):
			t.Errorf("%q: %q, %v", key, got, err)
		case code != "" && fault.From(err).Code != code:
			t.Errorf("%q: %v, want %s", key, err, code)
		}
	}
	if _, err := idempotencyKey(http.Header{"Idempotency-Key": {"a", "b"}}); fault.From(err).Code != "invalid_request" {
		t.Errorf("two keys: %v", err)
	}
}

// FuzzValidation feeds anything to every request's schema: the answer is yes or a list of mistakes, never a panic, and
// the shape and the validator agree.
func FuzzValidation(f *testing.F) {
	c := testContract(f)
	f.Add([]byte(sampleEntry))
	f.Add([]byte(`{"amount":1000,"currency":"EUR","payment_method":"tok_approved"}`))
	f.Add([]byte(`{"mode":"atomic","entries":[]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		d, err := readDocument(raw, 1000)
		if err != nil {
			return
		}
		for pattern, op := range c.operations {
			if op.body == nil {
				continue
			}
			if err := op.body.Validate(d.value); op.shape.accepts(d.value) != (err == nil && len(op.shape.unseen(d.value, nil)) == 0) {
				t.Fatalf("%s %s: the validator says %v", pattern, raw, err)
			}
			if found := op.checkBody(d); len(found) > 0 && len(fault.From(invalid(found)).Params) == 0 {
				t.Fatalf("%s %s: refused without a reason", pattern, raw)
			}
		}
	})
}
