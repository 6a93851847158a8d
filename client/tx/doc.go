// Package tx queues Kontor's tasks in a transaction of your own, on the database that Kontor runs on: what you write and the
// work that follows from it are committed together, or neither is.
//
//	kontor := tx.New("default") // the organisation; make one, and share it
//
//	err := pgx.BeginFunc(ctx, pool, func(db pgx.Tx) error {
//		if _, err := db.Exec(ctx, `insert into orders (id, total) values ($1, $2)`, order.ID, order.Total); err != nil {
//			return err
//		}
//		_, err := kontor.Enqueue(ctx, db, []tx.Task{{
//			Queue: "emails", Destination: "mailer",
//			HTTPRequest: &tx.HTTPRequest{URL: "/messages", Body: confirmation},
//			UniqueKey: "confirm-" + order.ID,
//		}})
//		return err
//	})
//
// Nodes find a committed task by looking: within some 20 ms while tasks come in, within some 100 ms after a pause. Nothing is found of a transaction that was rolled back.
//
// It needs no node, no API key and no connection but yours. What it needs of the database is in
// docs/guides/enqueue-in-your-transaction.md. It owns no tables.
package tx
