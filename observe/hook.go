package observe

import (
	"fmt"

	"github.com/sirupsen/logrus"
	"github.com/tiproxy/tiproxy/hook"
)

// Hook takes an event of the hooks. One that went well is told at level debug:
// what it was run for has a line of its own.
func (o *Observer) Hook(e hook.Event) {
	switch e := e.(type) {
	case hook.OutputEvent:
		level, line := priorityOf(e.Line)
		o.output.WithFields(fields{keyEvent: &hookOutput, keyHook: string(e.Kind)}).Logf(level, "hook %s=: %s", e.Kind, line)
	case hook.RunEvent:
		f := fields{keyHook: string(e.Kind), keyTook: e.After}
		if e.Err == nil {
			o.tell(logrus.DebugLevel, &hookEnds, f, fmt.Sprintf("the hook %s= has run for %s", e.Kind, short(e.After)))
			return
		}
		f[keyReason] = e.Err.Error()
		o.tell(logrus.WarnLevel, &hookEnds, f, e.Err.Error())
	case hook.DropEvent:
		o.tell(logrus.WarnLevel, &hooksLost, fields{},
			fmt.Sprintf("%d hooks will not run: those before them take longer than what they are about", e.Number))
	}
}
