package app

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/platform/access"
)

// organisationDefault is the organisation of whoever does not name one.
const organisationDefault = "default"

// shownKey is an API key for people and programs; Key is only there when it was just made.
type shownKey struct {
	ID           string     `json:"id"`
	Organisation string     `json:"organisation"`
	Name         string     `json:"name"`
	Key          string     `json:"key,omitempty"`
	Hint         string     `json:"hint"`
	Live         bool       `json:"live"`
	CreatedAt    time.Time  `json:"created_at"`
	ExpiresAt    *time.Time `json:"expires_at"`
	RevokedAt    *time.Time `json:"revoked_at"`
}

func showKey(organisation string, k access.Key) shownKey {
	optional := func(t time.Time) *time.Time {
		if t.IsZero() {
			return nil
		}
		return &t
	}
	return shownKey{
		ID: ids.Format("key", k.ID), Organisation: organisation, Name: k.Name, Hint: k.Hint, Live: k.Live,
		CreatedAt: k.CreatedAt, ExpiresAt: optional(k.ExpiresAt), RevokedAt: optional(k.RevokedAt),
	}
}

// state says in a word whether the key lets anybody in.
func (k shownKey) state(now time.Time) string {
	switch {
	case k.RevokedAt != nil:
		return "revoked " + k.RevokedAt.UTC().Format(time.DateOnly)
	case k.ExpiresAt != nil && !k.ExpiresAt.After(now):
		return "expired " + k.ExpiresAt.UTC().Format(time.DateOnly)
	case k.ExpiresAt != nil:
		return "until " + k.ExpiresAt.UTC().Format(time.DateOnly)
	default:
		return "valid"
	}
}

func newKeysCommand(c *cli) *cobra.Command {
	group := c.group("keys", "Make, list and revoke API keys",
		newKeysCreateCommand(c), newKeysListCommand(c), newKeysRevokeCommand(c))
	group.GroupID = groupOperate
	return group
}

// withAccess runs a verb on the API keys of the database.
func (c *cli) withAccess(cmd *cobra.Command, use func(a *access.Access) error) error {
	db, err := c.openDatabase(cmd)
	if err != nil {
		return err
	}
	defer db.Close()
	return use(access.New(db, clock.System, ids.NewSource(clock.System)))
}

func bindOrganisation(cmd *cobra.Command) *string {
	return cmd.Flags().String("organisation", organisationDefault, "name of the organisation, in a-z, 0-9 and -")
}

func newKeysCreateCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use: "create", Short: "Make an API key, and its organisation when there is none", Args: takes(0),
		Example: "  kontor keys create --name shop\n  kontor keys create --organisation acme --live --expires-in 2160h",
		Long:    "Makes an API key, and its organisation when there is none. The key is shown once: only its hash is kept.",
	}
	organisation := bindOrganisation(cmd)
	name := cmd.Flags().String("name", "default", "what the key is for")
	live := cmd.Flags().Bool("live", false, "a key for real money, not for tests")
	lifetime := cmd.Flags().Duration("expires-in", 0, "how long the key is valid, such as 720h; for ever without it")
	c.bindDatabase(cmd)
	bindJSON(cmd)
	cmd.RunE = c.run(func(cmd *cobra.Command, _ []string) error {
		if *lifetime < 0 {
			return fmt.Errorf("%w: --expires-in must not be negative", errUsage)
		}
		var expiresAt time.Time
		if *lifetime > 0 {
			expiresAt = clock.System().Add(*lifetime)
		}
		return c.withAccess(cmd, func(a *access.Access) error {
			secret, key, err := a.CreateKey(cmd.Context(), *organisation, *name, *live, expiresAt)
			if err != nil {
				return err
			}
			shown := showKey(*organisation, key)
			shown.Key = secret
			if wantsJSON(cmd) {
				return c.printJSON(shown)
			}
			_, _ = fmt.Fprintf(c.process.Err, "%s of %s; keep it, it is not shown again:\n", shown.ID, *organisation)
			c.printf("%s\n", secret)
			return nil
		})
	})
	return cmd
}

func newKeysListCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List an organisation's API keys", Args: takes(0), Example: "  kontor keys list --organisation acme"}
	organisation := bindOrganisation(cmd)
	c.bindDatabase(cmd)
	bindJSON(cmd)
	cmd.RunE = c.run(func(cmd *cobra.Command, _ []string) error {
		return c.withAccess(cmd, func(a *access.Access) error {
			keys, err := a.ListKeys(cmd.Context(), *organisation)
			if err != nil {
				return err
			}
			shown := make([]shownKey, len(keys))
			for i, k := range keys {
				shown[i] = showKey(*organisation, k)
			}
			if wantsJSON(cmd) {
				return c.printJSON(map[string]any{"keys": shown})
			}
			if len(shown) == 0 {
				c.printf("%s has no keys; make one: kontor keys create --organisation %s\n", *organisation, *organisation)
			}
			now := clock.System()
			for _, k := range shown {
				mode := "test"
				if k.Live {
					mode = "live"
				}
				c.printf("%s  %s  …%s  %-18s  %s\n", k.ID, mode, k.Hint, k.state(now), k.Name)
			}
			return nil
		})
	})
	return cmd
}

func newKeysRevokeCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use: "revoke <key id>", Short: "Revoke an API key; every node refuses it within a second", Args: takes(1),
		Example: "  kontor keys revoke key_01k4x9d2rzfqe8s5v0m3t7a1bc",
	}
	organisation := bindOrganisation(cmd)
	c.bindDatabase(cmd)
	bindJSON(cmd)
	cmd.RunE = c.run(func(cmd *cobra.Command, args []string) error {
		id, err := ids.Parse("key", args[0])
		if err != nil {
			return fmt.Errorf("%w: %q is no key's id; kontor keys list shows them", errUsage, args[0])
		}
		return c.withAccess(cmd, func(a *access.Access) error {
			key, err := a.RevokeKey(cmd.Context(), *organisation, id)
			if err != nil {
				return err
			}
			shown := showKey(*organisation, key)
			if wantsJSON(cmd) {
				return c.printJSON(shown)
			}
			c.printf("revoked %s\n", shown.ID)
			return nil
		})
	})
	return cmd
}
