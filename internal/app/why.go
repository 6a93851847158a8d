package app

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kontorhq/kontor/internal/app/why"
	"github.com/kontorhq/kontor/internal/commerce/payments"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/platform/tasks"
)

func newWhyCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use: "why <payment id>", Short: "Tell the whole story of a payment", Args: takes(1), GroupID: groupProve,
		Example: "  kontor why pay_01k4x9d2rzfqe8s5v0m3t7a1bc --database-url postgres://kontor:secret@db:5432/kontor",
		Long: "Tells in the order in which it happened what is recorded about a payment: what was asked for and under which key,\n" +
			"what the provider was asked and answered, webhooks, entries, events; and at the end what it comes to.\n" +
			"Exit code 1 when there is no such payment, or when the books do not agree with it.",
	}
	c.bindDatabase(cmd)
	bindJSON(cmd)
	cmd.RunE = c.run(func(cmd *cobra.Command, args []string) error {
		id, err := ids.Parse(payments.PaymentPrefix, args[0])
		if err != nil && strings.HasPrefix(args[0], tasks.Prefix+"_") {
			return fmt.Errorf("%w: this is a task's id: ask kontor tasks why %s", errUsage, args[0])
		}
		if err != nil {
			return fmt.Errorf("%w: %q is no payment's id, which is pay_ and 26 characters", errUsage, args[0])
		}
		db, err := c.openDatabase(cmd)
		if err != nil {
			return err
		}
		defer db.Close()
		story, found, err := why.Read(cmd.Context(), db, id)
		if err != nil {
			return err
		}
		if !found {
			return fmt.Errorf("there is no payment %s in this database", args[0])
		}
		if wantsJSON(cmd) {
			err = c.printJSON(story)
		} else {
			err = story.WriteText(c.process.Out)
		}
		if err == nil && !story.BooksAgree {
			err = errCheckFailed // the verdict has said so
		}
		return err
	})
	return cmd
}
