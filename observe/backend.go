package observe

import (
	"fmt"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/tiproxy/tiproxy/supervisor"
)

// troublesMost is how many troubles a minute are told: enough for what the
// backend itself runs into, and a bound for a stranger that writes to its
// notify socket without end.
const troublesMost = 5

// Backend takes an event of the supervisor.
func (o *Observer) Backend(e supervisor.Event) {
	switch e := e.(type) {
	case supervisor.OutputEvent:
		o.wrote(e)
		return // what it says changes nothing of ours
	case supervisor.LaunchEvent:
		o.tell(logrus.InfoLevel, &backendStarts, child(e.Generation, e.PID), "starting the backend: "+strings.Join(e.Command, " "))
	case supervisor.ReadyEvent:
		f := child(e.Generation, e.PID)
		f[keyTook] = e.After
		o.tell(logrus.InfoLevel, &backendReady, f, "the backend is ready after "+short(e.After))
	case supervisor.StopEvent:
		f := child(e.Generation, e.PID)
		f[keyReason] = e.Reason
		o.tell(logrus.InfoLevel, &backendStops, f, "stopping the backend: "+e.Reason)
	case supervisor.KillEvent:
		o.tell(logrus.WarnLevel, &backendKilled, child(e.Generation, e.PID),
			fmt.Sprintf("the backend did not end within %s (StopTimeoutSec=): killing it", short(e.After)))
	case supervisor.ExitEvent:
		o.exited(e)
	case supervisor.FailEvent:
		o.tell(logrus.ErrorLevel, &backendFails, trouble(e.Generation, e.Err),
			fmt.Sprintf("cannot start the backend: %v%s", e.Err, retry(e.Retry)))
	case supervisor.StrangerEvent:
		o.tell(logrus.ErrorLevel, &backendStranger, trouble(e.Generation, e.Err), e.Err.Error())
	case supervisor.CutEvent:
		o.tell(logrus.WarnLevel, &backendCut, fields{keyGeneration: e.Generation},
			fmt.Sprintf("connections kept the backend from being replaced for %s (RecycleGraceSec=): cutting them", short(e.After)))
	case supervisor.FreezeEvent:
		if e.Frozen {
			o.tell(logrus.InfoLevel, &backendFrozen, child(e.Generation, e.PID), "the idle backend is frozen")
		} else {
			o.tell(logrus.InfoLevel, &backendThawed, child(e.Generation, e.PID), "the backend is thawed")
		}
	case supervisor.TextEvent:
		if strings.TrimSpace(e.Text) == "" { // it has nothing to say any more
			break
		}
		o.tell(logrus.InfoLevel, &backendSays, fields{keyGeneration: e.Generation}, "backend status: "+e.Text)
	case supervisor.NotifyEvent:
		o.remind(backendTrouble.Event, troublesMost, logrus.WarnLevel, &backendTrouble, trouble(e.Generation, e.Err), e.Err.Error())
	}
	o.change()
}

func child(generation uint64, pid int) fields {
	return fields{keyGeneration: generation, keyPID: pid}
}

func trouble(generation uint64, err error) fields {
	return fields{keyGeneration: generation, keyReason: err.Error()}
}

// wrote passes on a line of the backend. It is not among the last events, which
// it would soon be alone in.
func (o *Observer) wrote(e supervisor.OutputEvent) {
	level, line := priorityOf(e.Line)
	o.output.WithFields(fields{keyEvent: &backendOutput, keyPID: e.PID}).Log(level, "backend: "+line)
}

// priorityOf takes the priority off the head of a line, as journald does with
// what a service writes (sd-daemon(3): "<3>" is an error).
func priorityOf(line string) (logrus.Level, string) {
	if len(line) < 3 || line[0] != '<' || line[1] < '0' || line[1] > '7' || line[2] != '>' {
		return logrus.InfoLevel, line
	}
	level := logrus.InfoLevel // 5 and 6, notice and info
	switch digit := line[1]; {
	case digit <= '3': // emerg, alert, crit and err
		level = logrus.ErrorLevel
	case digit == '4':
		level = logrus.WarnLevel
	case digit == '7':
		level = logrus.DebugLevel
	}
	return level, line[3:]
}

func (o *Observer) exited(e supervisor.ExitEvent) {
	level, text := logrus.InfoLevel, ""
	switch {
	case e.Wanted:
		text = "the backend has ended: " + e.Status
	case e.Retry == 0:
		text = "the backend has ended by itself: " + e.Status + "; the next client starts it again"
	default:
		level, text = logrus.WarnLevel, "the backend has ended unasked: "+e.Status+retry(e.Retry)
	}
	f := child(e.Generation, e.PID)
	f[keyReason] = e.Status
	o.tell(level, &backendExits, f, text)
}

func retry(after time.Duration) string {
	if after == 0 {
		return ""
	}
	return fmt.Sprintf("; next start in %s, if somebody waits", short(after))
}
