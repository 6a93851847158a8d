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

// Detail is one setting of a profile.
type Detail struct{ Name, Value string }

// Split reads a profile as people write it: a profile's name, and then details that add to it or change it, as in
// "light,seed=7,latency=5ms"; or details alone, and then the name is empty. All mistakes are reported at once.
func Split(text string) (name string, details []Detail, err error) {
	var problems []error
	for i, item := range strings.Split(text, ",") {
		key, value, found := strings.Cut(item, "=")
		switch {
		case found:
			details = append(details, Detail{Name: strings.TrimSpace(key), Value: strings.TrimSpace(value)})
		case i == 0:
			name = strings.TrimSpace(item)
		default:
			problems = append(problems, fmt.Errorf("%w: %q: want name=value", ErrProfile, strings.TrimSpace(item)))
		}
	}
	return name, details, errors.Join(problems...)
}

// Text is a profile as Split reads it, of a body that has it as it is, as a JSON string, or as a JSON object of settings, whose
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
