package main

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/tiproxy/tiproxy/control"
)

func statusCommand() *cobra.Command {
	var path string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Tell how a running tiproxy does",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			raw, err := control.Status(cmd.Context(), control.Path(path))
			if err != nil {
				return exitWith(exitFailed, err)
			}
			if asJSON {
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", raw)
				return exitWith(exitFailed, err)
			}
			return exitWith(exitFailed, control.Print(cmd.OutOrStdout(), raw))
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	cmd.Flags().StringVar(&path, "control", "", "`PATH` of the control socket")
	return cmd
}
