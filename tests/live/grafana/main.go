// Checks a dashboard against Grafana's own schema: unknown, missing and wrong fields are errors.
package main

import (
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

func main() {
	plugins.RegisterDefaultPlugins()
	content, err := os.ReadFile(os.Args[1])
	if err != nil {
		fmt.Println(err)
		os.Exit(2)
	}
	var found dashboard.Dashboard
	// Without errors it returns an empty list of them, which is not nil.
	if err := found.UnmarshalJSONStrict(content); err != nil && err.Error() != "" {
		fmt.Println(err)
		os.Exit(1)
	}
	if err := found.Validate(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}
