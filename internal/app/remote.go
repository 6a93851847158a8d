package app

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kontorhq/kontor/client"
)

// What kontor dev leaves in its directory for the verbs that speak to it, or look at its database.
const (
	devDirectory       = ".kontor"
	devKeyFile         = "dev-key"
	devURLFile         = "dev-url"
	devDatabaseURLFile = "dev-database-url"
)

// apiURLDefault is where a node listens that was told nothing else.
const apiURLDefault = "http://127.0.0.1:8080"

// bindAPI gives a verb that speaks to a running Kontor the flag --api-url.
func bindAPI(cmd *cobra.Command) {
	cmd.Flags().String("api-url", "", "the API, such as https://kontor.example.org (default: "+clientURLVariable+", the kontor dev of this\n"+
		"directory, or "+apiURLDefault+"); its key is taken from "+clientKeyVariable+", or from kontor dev")
}

// api is a client of the API that bindAPI's flag, the environment, or the kontor dev of this directory names.
func (c *cli) api(cmd *cobra.Command, options ...client.Option) (*client.ClientWithResponses, error) {
	address, key, err := c.apiAddress(cmd)
	if err != nil {
		return nil, err
	}
	return client.New(address, key, options...)
}

// apiAddress is where that API is, and the key to it.
func (c *cli) apiAddress(cmd *cobra.Command) (address, key string, err error) {
	if address, err = cmd.Flags().GetString("api-url"); err != nil {
		return "", "", err
	}
	key = c.variable(clientKeyVariable)
	for _, from := range []struct {
		value     *string
		otherwise string
		file      string
	}{{&address, c.variable(clientURLVariable), devURLFile}, {&key, "", devKeyFile}} {
		if *from.value == "" {
			*from.value = from.otherwise
		}
		if *from.value != "" {
			continue
		}
		if *from.value, err = leftByDev(from.file); err != nil {
			return "", "", err
		}
	}
	if address == "" {
		address = apiURLDefault
	}
	if at, err := url.Parse(address); err != nil || at.Host == "" || at.Scheme != "http" && at.Scheme != "https" {
		return "", "", fmt.Errorf("%w: --api-url: %q is no address such as http://127.0.0.1:8080", errUsage, address)
	}
	if key == "" {
		return "", "", fmt.Errorf("%w: there is no API key: make one with kontor keys create, and put it into %s", errUsage, clientKeyVariable)
	}
	return address, key, nil
}

// leftByDev reads what the kontor dev of this directory has left; nothing if there is none.
func leftByDev(file string) (string, error) {
	text, err := os.ReadFile(filepath.Join(devDirectory, file))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read what kontor dev has left: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// variable reads the process's environment.
func (c *cli) variable(name string) string {
	for _, pair := range slices.Backward(c.process.Environ) {
		if key, value, _ := strings.Cut(pair, "="); key == name {
			return value
		}
	}
	return ""
}
