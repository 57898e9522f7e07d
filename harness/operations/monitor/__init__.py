"""Monitoring of a platform: scrape configuration, recording and alert rules, and a dashboard, as files.

:mod:`~trivet.operations.monitor.series` names every series once, :mod:`~trivet.operations.monitor.rules` what is recorded and alerted on,
:mod:`~trivet.operations.monitor.files` writes it all. Nothing here talks to a server; :mod:`trivet.operations.exporter` does.
"""
