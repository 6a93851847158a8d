package badserver

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// ErrProfile is what every mistake in a fault profile wraps.
var ErrProfile = errors.New("malformed fault profile")

// Read reads a profile as people write it: the name of one of the server's, and then details that add to it or change it, as in
// "light,seed=7,latency=5ms"; or details alone, and then the name is empty. All mistakes are reported at once.
func Read[P any](text string, named func(string) (P, bool), set func(p *P, name, value string) error, check func(*P) error) (P, error) {
	items := strings.Split(text, ",")
	name := ""
	if !strings.Contains(items[0], "=") {
		name, items = strings.TrimSpace(items[0]), items[1:]
	}
	var problems []error
	p, ok := named(name)
	if !ok {
		problems = append(problems, fmt.Errorf("%w: no profile %q; want none, light or heavy, or details as name=value", ErrProfile, name))
	}
	for _, item := range items {
		key, value, found := strings.Cut(item, "=")
		if !found {
			problems = append(problems, fmt.Errorf("%w: %q: want name=value", ErrProfile, strings.TrimSpace(item)))
			continue
		}
		problems = append(problems, set(&p, strings.TrimSpace(key), strings.TrimSpace(value)))
	}
	if err := errors.Join(append(problems, check(&p))...); err != nil {
		return *new(P), err
	}
	return p, nil
}

// Text is a profile as Read reads it, of a body that has it as it is, as a JSON string, or as a JSON object of settings, whose
// "profile" is where they start.
func Text(body []byte) (string, error) {
	body = bytes.TrimSpace(body)
	switch {
	case bytes.HasPrefix(body, []byte(`"`)):
		var text string
		if err := json.Unmarshal(body, &text); err != nil {
			return "", fmt.Errorf("%w: %w", ErrProfile, err)
		}
		return text, nil
	case bytes.HasPrefix(body, []byte("{")):
		return textOf(body)
	default:
		return string(body), nil
	}
}

func textOf(object []byte) (string, error) {
	var settings map[string]json.RawMessage
	if err := json.Unmarshal(object, &settings); err != nil {
		return "", fmt.Errorf("%w: %w", ErrProfile, err)
	}
	items := []string{unquote(settings["profile"])}
	delete(settings, "profile")
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		items = append(items, name+"="+unquote(settings[name]))
	}
	return strings.Join(items, ","), nil
}

func unquote(raw json.RawMessage) string { return strings.Trim(string(raw), `"`) }
