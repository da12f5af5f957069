Feature: Ten quiet minutes
  What the steady state shows in half a minute, for long enough that a rule which
  rings now and then would have rung: `make false-pages`.

  @runbook:TaskAvailabilityBurn @soak
  Scenario: Nobody is called for nothing
    Given a steady load of 300 tasks per second
    And 2% of the tasks are sent twice
    And a recovery window of 10 minutes
    When no fault is injected
    Then in the baseline window at least 99.9% of the requests are accepted
    And in the recovery window at least 99.9% of the requests are accepted
    And in the recovery window at least 99% of the accepted requests are answered within 500 milliseconds
    And no alert pages
    And every accepted task is done exactly once
    And no refused task is ever done
    And no unknown task is done more than once
